"""MMEngine: hooks, data sets, transforms, samplers, metrics, models. Loaded by ``coprop_plugin.registry``."""
