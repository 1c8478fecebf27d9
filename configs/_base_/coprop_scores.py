# As coprop.py, for models whose samples bring scores (AdapterModel, or EncoderDecoder's seg_logits): these are refined,
# and thresholds as M_F's mean the same before and after. Scores beyond 256 MB a video wait in a file.
custom_hooks = [
    dict(
        type='CoPropHook',
        base='scores',
        control_points=dict(type='Boundary'),
        propagator=dict(type='Flow'),
        fusion=dict(type='Consensus')),
]
