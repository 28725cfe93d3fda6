// Package measure is what the benchmarks of whole programs share: what a process has used,
// in which order programs take turns, how fast something moves, and tables.
//
// A benchmark runs the programs that it compares in turns (Turns), so that what else the
// machine does meets all of them, with one program running twice in a row: the
// difference between these two runs (A/A) says how much a difference means. Meter watches
// a count and a process while a program runs. Summary makes a table, as Markdown and as
// JSON, with ratios: figures of one machine mean little on another, ratios more.
package measure
