# The lines that mend the masks of a model whose config you have (mmseg's own tools read the file twice, once before
# they know this package; so it is imported where the list of bases is made):
#   _base_ = (
#       ['mmseg::…', 'coprop_plugin::_base_/coprop.py']
#       if __import__('coprop_plugin') else [])
# `custom_hooks` of a config replaces that of its bases; add the entry to yours where you have one.
custom_hooks = [
    dict(
        type='CoPropHook',
        control_points=dict(type='Boundary'),
        propagator=dict(type='Flow'),
        fusion=dict(type='Consensus')),
]
