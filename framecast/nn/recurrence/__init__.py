"""The recurrence of Shi et al. (2015) over a sequence: a plain loop, and fused implementations."""
