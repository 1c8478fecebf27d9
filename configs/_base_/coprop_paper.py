# The paper's policy: anchor at each segment's first frame, replace the others. Give the language model that finds the
# control points and the propagator's checkpoint, for example
#   custom_hooks[0]['control_points'] = dict(type='RCPG', …)
custom_hooks = [
    dict(
        type='CoPropHook',
        control_points=dict(type='ChangePoint'),
        propagator=dict(type='Flow'),
        fusion=dict(type='Replace')),
]
