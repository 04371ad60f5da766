"""A policy folder to begin with, and rules of the library as packages of one's own."""
