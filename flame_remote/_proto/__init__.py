"""Flame's messages and services, generated from protos/ by protos/generate.py."""
