"""The loop: open a run, recover it by fold, carry events to the store and effects to the world, close it."""
