"""What a polymerisation rule makes of one or two monomers."""

from __future__ import annotations

from rdkit import Chem

from polyml.design.rules import FollowUp, Rule, follow_ups


class Unfinished(Exception):
    """A product that the rules leave with a group they have no reaction for."""


def homopolymers(rule: Rule, monomer: Chem.Mol) -> list[str]:
    """Return the repeat units that one monomer makes with itself, each once.

    While a product can polymerise as the monomer did (a second double bond) it does, and what comes last is returned.

    Examples
    --------
    >>> from polyml.design.rules import rules_for
    >>> homopolymers(rules_for(["polyolefin"])[0], Chem.MolFromSmiles("C=Cc1ccccc1"))
    ['*CC(*)c1ccccc1']
    """
    products: list[Chem.Mol] = []
    mol = monomer
    for _ in range(monomer.GetNumAtoms()):  # each turn uses up a group
        if not _polymerises(rule, mol):
            break
        found = _finished(rule, (mol,))
        if not found:
            break
        products, mol = found, found[-1]
    return _texts(products)


def copolymers(rule: Rule, first: Chem.Mol, second: Chem.Mol) -> list[str]:
    """Return the repeat units that two monomers make, each once: those that join head to tail, head to head, and so on.

    Examples
    --------
    >>> from polyml.design.rules import rules_for
    >>> diol, rule = Chem.MolFromSmiles("OCCO"), rules_for(["polyurethane"])[0]
    >>> copolymers(rule, Chem.MolFromSmiles("O=C=NCCN=C=O"), diol)
    ['*OCCOC(=O)NCCNC(*)=O']
    """
    return _texts(_finished(rule, (first, second)))


def _polymerises(rule: Rule, mol: Chem.Mol) -> bool:
    if not any(mol.HasSubstructMatch(pattern) for pattern in rule.patterns):
        return False
    return not any(mol.HasSubstructMatch(pattern) for pattern in rule.excluded)


def _finished(rule: Rule, monomers: tuple[Chem.Mol, ...]) -> list[Chem.Mol]:
    """Return the products of one reaction after all left-over groups have reacted; faulty ones are left out."""
    products = []
    steps = follow_ups(rule)
    for (product,) in rule.reaction.RunReactants(monomers):
        try:
            Chem.SanitizeMol(product)
            products.append(follow(product, steps))
        except (Unfinished, ValueError, RuntimeError):  # the last two are RDKit's, for an impossible molecule
            continue
    return products


def follow(mol: Chem.Mol, steps: tuple[FollowUp, ...]) -> Chem.Mol:
    """Return a product after its left-over groups have reacted.

    Raises
    ------
    Unfinished
        A group is left that has no reaction.
    """
    for step in steps:
        left = mol.GetNumAtoms()  # each reaction uses up a group, and there are fewer of these than atoms
        while mol.HasSubstructMatch(step.group):
            products = step.reaction.RunReactants((mol,)) if step.reaction is not None and left else ()
            if not products:
                raise Unfinished
            mol, left = products[0][0], left - 1
            Chem.SanitizeMol(mol)
    return mol


def _texts(products: list[Chem.Mol]) -> list[str]:
    return [text for text in dict.fromkeys(Chem.MolToSmiles(mol) for mol in products) if text]
