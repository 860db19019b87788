"""What the overseers compute alike: service times, findings, statistics, the register of foreign workers. Pure.

    messages --Dossier--> clocks (service times), leads (findings), entries (register), counts (statistics)

Everything is a function of the set of facts and, where time itself is the matter, of `now`.
"""
