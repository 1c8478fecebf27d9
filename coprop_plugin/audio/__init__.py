"""Features of sound: log-mel, VGGish."""
