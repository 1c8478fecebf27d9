"""What is heard, looked for in the picture: hearing, seeing, and the adapter."""
