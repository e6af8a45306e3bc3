"""Networks: layers, batches, and the Lightning module. Importing a module of this package imports torch."""
