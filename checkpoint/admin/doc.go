// Package admin looks at the records of a checkpoint store and changes them, for people:
// it is what "hubferry checkpoints" does, for programs of one's own.
//
// Reading never changes anything. A change is planned first: a Plan says for every
// partition what stands in the store, what would, and what speaks against it (somebody
// owns the partition, a checkpoint would be overwritten). Apply carries it out and checks
// once more; between that look and the write an owner that is just beginning can still
// come in between, so stop the consumers of a group before its checkpoints are moved.
package admin
