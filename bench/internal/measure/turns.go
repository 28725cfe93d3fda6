package measure

// Turns returns the order in which programs run: rounds of all, each beginning with
// another, and the first program once more at once after its first run. aa is the index of
// that second run, which pairs with the run before it.
func Turns(programs []string, rounds int) (order []string, aa int) {
	for r := range rounds {
		for i := range programs {
			p := programs[(r+i)%len(programs)]
			order = append(order, p)
			if r == 0 && i == 0 {
				aa = len(order)
				order = append(order, p)
			}
		}
	}
	return order, aa
}
