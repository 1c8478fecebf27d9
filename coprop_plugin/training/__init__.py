"""Training: one loop, and what is trained with it (:data:`coprop_plugin.training.trainable.TRAINABLES`)."""
