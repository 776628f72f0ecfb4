"""Batches: several requests that waited while all workers were busy, in one forward.

:mod:`.worker_load` and :mod:`.rounds` say which requests a worker takes together, :mod:`.batcher` brings
them to the engine, :mod:`.batch_computer` computes them, :mod:`.trial` finds out at load whether that helps.
"""
