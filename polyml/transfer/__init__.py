"""Transfer learning: pretrain an encoder on other polymers, to be fine-tuned by the models that name it."""
