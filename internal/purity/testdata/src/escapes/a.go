package escapes

func sum(m map[int]int) (total int) {
	//weir:ordered a sum does not depend on the order
	for _, v := range m {
		total += v
	}
	for range m { //weir:ordered so does a count
		total++
	}
	//weir:ordered // want "escape weir:ordered sets nothing aside"
	total++
	//weir:pure another kind of escape // want "escape weir:pure another kind of escape|escape weir:pure sets nothing aside"
	for range m { // want "range over a map"
	}
	//weir:sorted no such kind // want "unknown escape weir:sorted"
	return total
}

func bare(m map[int]int) {
	/* want "escape weir:ordered without a reason" */ //weir:ordered
	for range m {                                     // want "range over a map"
	}
}
