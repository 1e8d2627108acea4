"""Floor 4, where objects meet: wiring, the reconcile loop, health, metrics, the control socket."""
