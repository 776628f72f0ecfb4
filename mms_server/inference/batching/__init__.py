"""Batching: requests that waited while all workers were busy are computed in one forward.

* :mod:`.intake` accepts requests in rounds; :mod:`.batch_delay` is the optional wait for more.
* :mod:`.batcher` passes the requests of a round to the engine; :mod:`.batch_compute` computes them.
* :mod:`.batch_benchmark` measures at load whether batches help, with the clock of :mod:`.cpu_clock`
  and the check of :mod:`.statefulness`; :mod:`.batch_decision` records the result.
"""
