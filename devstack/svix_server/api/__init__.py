"""The HTTP doors, one file per resource; each has a `ROUTES` table and no decision about delivery."""
