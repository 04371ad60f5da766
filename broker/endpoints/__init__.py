"""The HTTP edge: what is heard and what is answered; no decision is made here."""
