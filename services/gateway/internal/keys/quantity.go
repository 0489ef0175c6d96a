package keys

import (
	"errors"
	"math/big"
	"regexp"
)

// quantityPattern is Kubernetes' notation without exponents and signs. Its
// parser is not used: the gateway links nothing of Kubernetes.
var quantityPattern = regexp.MustCompile(`^([0-9]{1,18}(?:\.[0-9]{1,9})?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi|)$`)

var (
	errQuantity = errors.New("no quantity")

	suffixes = map[string]*big.Rat{
		"": power(1, 0), "m": big.NewRat(1, 1000),
		"k": power(1000, 1), "M": power(1000, 2), "G": power(1000, 3), "T": power(1000, 4), "P": power(1000, 5),
		"Ki": power(1024, 1), "Mi": power(1024, 2), "Gi": power(1024, 3), "Ti": power(1024, 4), "Pi": power(1024, 5),
	}
)

func power(base, exponent int64) *big.Rat {
	return new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(base), big.NewInt(exponent), nil))
}

// quantity is s times unit, exactly; what is no whole number of units, or more
// than 63 bits, is none.
func quantity(s string, unit int64) (int64, error) {
	parts := quantityPattern.FindStringSubmatch(s)
	if parts == nil {
		return 0, errQuantity
	}
	n, ok := new(big.Rat).SetString(parts[1])
	if !ok {
		return 0, errQuantity
	}
	n.Mul(n, suffixes[parts[2]]).Mul(n, new(big.Rat).SetInt64(unit))
	if !n.IsInt() || !n.Num().IsInt64() {
		return 0, errQuantity
	}
	return n.Num().Int64(), nil
}
