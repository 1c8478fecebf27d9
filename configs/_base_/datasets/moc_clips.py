# MOC: the test videos of MS3 in which another set of categories begins to sound. The class masks of AVSS tell which.
_base_ = './ms3_clips.py'
test_dataloader = dict(dataset=dict(videos='moc', semantic_root='data/AVSBench'))
