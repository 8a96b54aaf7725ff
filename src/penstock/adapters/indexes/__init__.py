"""Nearest neighbours in memory: all rows one by one where they are few, a graph of neighbours where they are many.

Imports numpy and usearch, of the extra `semantic`: only the semantic cache imports this package.
"""
