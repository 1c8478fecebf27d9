# The paper's policy: anchor at each segment's first frame, replace the others. The language model that finds the control
# points and the weights of the propagator are yours to give:
#   control_points=dict(type='RCPG', model='…'),
#   propagator=dict(type='AudioInsertPropagator', checkpoint='…', audio_checkpoint='…')
custom_hooks = [
    dict(
        type='CoPropHook',
        control_points=dict(type='Boundary'),
        propagator=dict(type='Flow'),
        fusion=dict(type='Replace')),
]
