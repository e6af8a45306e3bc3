// A click (or Enter) on a heading sorts the table by that column; missing values stay last either way.
document.addEventListener("DOMContentLoaded", () => {
  const valueOf = (row, column, isNumber) => {
    const cell = row.cells[column];
    if (!isNumber) return cell.textContent.trim().toLowerCase();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const sortBy = (heading) => {
    const table = heading.closest("table"), body = table.tBodies[0], column = heading.cellIndex;
    const isNumber = heading.classList.contains("number");
    const sign = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const keyed = [...body.rows].map((row) => [valueOf(row, column, isNumber), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (isNumber ? a - b : a.localeCompare(b));
    });
    body.append(...keyed.map(([, row]) => row));
  };
  document.querySelectorAll("table.sortable th").forEach((heading) => {
    heading.addEventListener("click", () => sortBy(heading));
    heading.addEventListener("keydown", (event) => { if (event.key === "Enter") sortBy(heading); });
  });
});
