package wire

import (
	"math/rand/v2"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// random fills a message with random values, so that its encoding is a valid
// message of its version. Unknown tagged fields are set now and then.
func random(r *rand.Rand, message any) {
	fill(r, reflect.ValueOf(message).Elem())
}

var tagsType = reflect.TypeFor[kmsg.Tags]()

func fill(r *rand.Rand, v reflect.Value) {
	if v.Type() == tagsType {
		if tags := v.Addr().Interface().(*kmsg.Tags); r.IntN(6) == 0 {
			tags.Set(uint32(100+r.IntN(1<<20)), randomBytes(r, 200))
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Version" {
				fill(r, v.Field(i))
			}
		}
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem())
		}
	case reflect.Slice:
		fillSlice(r, v)
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString(string(randomBytes(r, 30)))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Uint8:
		v.SetUint(uint64(r.IntN(256)))
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n := r.Int64()
		if r.IntN(3) == 0 {
			n = int64(r.IntN(5)) - 1
		}
		v.SetInt(n << (64 - v.Type().Bits()) >> (64 - v.Type().Bits()))
	}
}

func fillSlice(r *rand.Rand, v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 {
		if r.IntN(8) > 0 {
			v.SetBytes(randomBytes(r, 1<<r.IntN(12)))
		}
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 4))
	for i := range v.Len() {
		fill(r, v.Index(i))
	}
}

func randomBytes(r *rand.Rand, atMost int) []byte {
	b := make([]byte, r.IntN(atMost+1))
	for i := range b {
		b[i] = byte(r.IntN(256))
	}
	return b
}

// mutate damages a copy of b: bits, whole bytes, length.
func mutate(r *rand.Rand, b []byte) []byte {
	b = append([]byte(nil), b...)
	for range 1 + r.IntN(4) {
		if len(b) == 0 {
			return b
		}
		at := r.IntN(len(b))
		switch r.IntN(5) {
		case 0:
			b[at] ^= 1 << r.IntN(8)
		case 1:
			b[at] = byte(r.IntN(256))
		case 2:
			b[at] = 0xff
		case 3:
			b = b[:at]
		case 4:
			b = append(b[:at:at], append(randomBytes(r, 8), b[at:]...)...)
		}
	}
	return b
}
