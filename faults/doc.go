// Package faults is the vocabulary of faults for both worlds: what the simulator injects, and what decorators over a
// real environment inject into a running broker. A fault is data ([Fault]) and has a text form, one line:
//
//	TARGET EFFECT [name=value ...]
//
//	disk:wal sync-error at=3s rate=0.1%
//	store@node:2 lost-after at=1s for=10s rate=20%
//	link:zone:a->node:2 cut at=5s for=2s
//	nodes kill at=4s for=50ms when=put
//
// # Targets
//
//	nodes  node:2  zone:b                    brokers: all, one by its number, those of a zone
//	disk:wal  disk:meta  disk:*              a disk of each broker, or both; of one: disk:wal@node:2
//	store  clock                             as each broker sees it; as one does: store@node:2, clock@zone:b
//	link:A->B  link:A<->B                    what travels from A to B, or both ways; A and B are nodes, node:2,
//	                                         zone:b, clients, client:4, or * for anyone; nodes at one end are all but
//	                                         those at the other: link:zone:b<->nodes leaves the links within the zone
//
// # Fields
//
//	at     when it begins; 0 if left out
//	for    how long it lasts; left out: to the end. Of a broker that ends: how long it is down
//	since  what at counts from: serving (the broker, or the simulated cluster, serves), or boot (its start)
//	rate   the share of operations that it strikes, each drawn on its own; left out: all of them. A percentage
//	       with up to four decimals, whatever the effect: 12.5%
//	by     a time: by how much (stall: more for each operation; step; restore: the copy's age)
//	times  a factor, up to three decimals (slow: latencies are so many times longer)
//	bytes  bytes a second (uplink, downlink)
//	when   put, wal, meta, super: not at once, but when the next PUT has taken effect, or while the next write of that
//	       disk, or of the log's superblock, is in flight
//
// # Effects
//
//	of brokers   crash (power fails), kill (SIGKILL), stop (clean shutdown), pause (SIGSTOP), clone (a second machine
//	             starts from a copy of the disks), isolate (cut off from clients, from brokers that are not struck, and
//	             from the store)
//	of disks     slow, stall, full, read-error, write-error, sync-error, shear (a power failure leaves a block part new,
//	             part old), restore (an older copy takes its place), lose (it is empty)
//	of the store refuse (503, not done), lost-before, lost-after, late (the answer is lost; the write never happened, has
//	             happened, happens later), short, corrupt (reads that end early, or have flipped bits), slow, stall, deny-put,
//	             deny-get (403), join (the parts of a large PUT arrive and are never joined), uplink, downlink
//	of links     cut (nothing arrives; nobody is told), stall (one end reads nothing), slow, reset (connections end)
//	of clocks    step (the wall clock jumps), drift (the monotonic clock gains so much each second)
//
// [Fault.Validate] says whether a fault makes sense. Which of them a world can do is the world's to say, and a plan with
// another fault is refused before anything starts: see sim/plan, and [NewInjector] for real environments.
//
// # Decorators
//
// An [Injector] wraps the disks, the store, the network and the clock of an env.Env. It draws by env.Rand, keeps no
// goroutine and no lock, and is called on the node's loop, as the core is. Faults are switched by the clock at each
// operation, so a plan costs nothing where it is silent. The decorators change what operations do and how they end only
// in ways that package env allows: a torn write or a lost answer is what a real device or store may do, too.
//
// The package may call core/env only.
package faults
