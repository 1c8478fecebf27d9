"""Training: one loop (:mod:`.loop`), and what is trained with it (:class:`coprop_plugin.training.trainable.Trainable`)."""
