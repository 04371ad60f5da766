"""Our own signing keys: shared by all processes, rotated without a gap, sealed at rest."""
