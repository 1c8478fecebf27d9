"""Reading and writing video, sound and images; the only room that knows decord, PyAV and soundfile."""
