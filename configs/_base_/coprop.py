# The two lines that mend the masks of a model whose config you have:
#   _base_ = ['mmseg::…', 'coprop_plugin::_base_/coprop.py']
# `custom_hooks` of a config replaces that of its bases; add the entry to yours where you have one.
custom_hooks = [
    dict(
        type='CoPropHook',
        control_points=dict(type='ChangePoint'),
        propagator=dict(type='Flow'),
        fusion=dict(type='Consensus')),
]
