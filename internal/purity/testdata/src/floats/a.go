package floats

const ratio = 1.5 // an untyped constant by itself is exact

const million int64 = 1e6

func scale(n int64) int64 {
	return int64(float64(n) * ratio) // want "floating point"
}

type sample struct {
	mean float64 // want "floating point"
}

func half(n int64) int64 { return n * 3 / 2 }
