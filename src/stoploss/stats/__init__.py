"""The mathematics of the monitor: pure functions, one method a file, each with its source and a checked number.

Nothing here reads a clock, draws at random or touches the outside. A replay must reproduce every bit on another
CPU, hence three habits in all files: state that adds up is exact integers wherever it can be; numpy is used for
elementwise + - * / and square roots and for integer counts only (vectorised exp, log and float sums differ between
CPUs); sums of floats go through math.fsum, which rounds once, whatever the order.
"""
