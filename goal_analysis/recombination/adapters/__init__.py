"""Objectives under the calls of other trainers' losses; an adapter is imported with the package that it is for."""
