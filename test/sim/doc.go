// Package sim runs whole clouds in simulated time and looks for histories that
// go wrong.
//
// A history is one run of the real services — compute, network and placement
// with their stores, saga engines, APIs and agents — inside a testing/synctest
// bubble: several control processes share one database, agents drive pretended
// hypervisors and a pretended dataplane, and users ask for random things.
// Identity and image are pretended and never fail. What
// the users do and which faults happen (messages and answers lost or delayed,
// requests repeated, hosts cut off, processes killed at saga steps or at any
// other moment and started again, guests that die) comes from a seed. When the
// faults end, the cloud must come to rest in bounded (simulated) time and
// everything must be as the rows and the users' accepted requests say; then
// all is deleted, and nothing may be left.
//
// Only the order of goroutines is not the seed's, so a rare failure may need
// its seed to be run several times:
//
//	make sim SEEDS=2000 START=1
//	SIM_SEED=1234 SIM_TIMES=50 go test ./test/sim -run TestSeed -v
//
// A failing seed prints its plan and what happened in order. Seeds that found
// something stay in the table of TestSeedsThatFailed.
package sim
