"""Condensed documents on disk: written durably, checked when read, never unpickled.

A document's condensed activations, token ids and page texts are one folder, named by what they mean (`Identity`) and
what they were made of. Importing this does not import torch.
"""
