package saml

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// Signer signs in the name of an identity provider.
type Signer struct {
	key  crypto.Signer
	cert []byte // DER
}

// Load reads a certificate and its key (RSA, PEM). That they belong
// together is checked.
func Load(certFile, keyFile string) (*Signer, error) {
	certPEM, err := os.ReadFile(certFile) //nolint:gosec // the operator's option
	if err != nil {
		return nil, fmt.Errorf("signing certificate: %w", err)
	}
	keyPEM, err := os.ReadFile(keyFile) //nolint:gosec // the operator's option
	if err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("signing certificate and key: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("signing key of type %T cannot sign", pair.PrivateKey)
	}
	if alg := pair.Leaf.PublicKeyAlgorithm; alg != x509.RSA {
		return nil, fmt.Errorf("signing key of kind %s: an RSA key is needed, which every service provider can check", alg)
	}
	return &Signer{key: key, cert: pair.Certificate[0]}, nil
}

// sign adds an enveloped signature (RSA with SHA-256, exclusive
// canonicalization) where SAML wants it: behind the issuer.
func (s *Signer) sign(x *etree.Element) (*etree.Element, error) {
	ctx, err := dsig.NewSigningContext(s.key, [][]byte{s.cert})
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	ctx.Canonicalizer = dsig.MakeC14N10ExclusiveCanonicalizerWithPrefixList("")
	sig, err := ctx.ConstructSignature(x, true)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	x.InsertChildAt(x.SelectElement("Issuer").Index()+1, sig)
	return x, nil
}

func (s *Signer) certificate() string { return base64.StdEncoding.EncodeToString(s.cert) }
