"""Training of networks: the Lightning loop, and pretraining on unlabelled polymers.

This room stands between the layers (``polyml.models.nn``) and the models that call it.
"""
