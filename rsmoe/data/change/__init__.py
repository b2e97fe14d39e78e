"""Change between two dates: what a class map of a pair says, and instructions about it (ChangeChat's six tasks).

`facts` counts and places the changes of a map, `instructions` asks about them, `wording` and `answers` put the truth
into words and read it back, `cells` is the 3 x 3 grid of places.
"""
