"""What is proved of the engine and its store here, by what, and how to see it again.

====================  =====================================================================  ==========================
what                  how                                                                    again
====================  =====================================================================  ==========================
``test_claims``       every order of claims, commits, takeovers, lost commits and deaths of  the way to a fault is told
                      2-3 workers on 1-2 visits, with the real step, batch and SQL
``test_simulation``   seeded lives of kernels, command lines, disks and stores, with the     ``sim_world.py SEED``
                      real session, recovery, database and codec
``test_flow_lives``   seeded lives of flows of functions, cut off and resumed, against       ``flow_world.py SEED``
                      plain Python
``test_fence``        every event that quotes an old permission, in every state              its row
``test_regressions``  the faults that were found, each as its shortest story                 its test
``test_mutants``      faults put into a copy of the package, and who has to see each         ``-m slow``: the score
``test_kills``        real kernels and store processes, killed and stopped at random         ``kill_loop.py``
====================  =====================================================================  ==========================

Every suite runs small parts of all of this; ``-m slow`` searches larger models, plays thousands of lives and kills the
mutants, ``-m chaos`` kills a thousand times. What is not proved: a disk that loses what it said it kept (power loss),
a network file system, a second host, PostgreSQL.
"""
