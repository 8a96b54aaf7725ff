"""A simulated engine, named as such in every answer.

An OpenAI-compatible server with the timing of continuous batching, the metrics of vLLM, and faults on demand.
"""
