// Verifies and makes signatures with github.com/lestrrat-go/jwx: the question on standard input, the answer on output,
// as tests/interop/jose.py says.
package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"log"
	"os"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
)

type question struct {
	Verify []struct {
		Name, Alg, JWS string
		JWK            json.RawMessage
		// Absent where the payload is in the JWS.
		Payload *string
	}
	Sign []struct {
		Name, Alg, Typ, Payload string
		Detached                bool
	}
}

type signed struct {
	JWK jwk.Key `json:"jwk"`
	JWS string  `json:"jws"`
}

type answer struct {
	// By name: the key's thumbprint if the signature verified, else nothing.
	Verified map[string]string `json:"verified"`
	Signed   map[string]signed `json:"signed"`
}

var algorithms = map[string]jwa.SignatureAlgorithm{"Ed25519": jwa.EdDSAEd25519(), "ES256": jwa.ES256()}

func main() {
	log.SetFlags(0)
	var asked question
	must(json.NewDecoder(os.Stdin).Decode(&asked))
	told := answer{map[string]string{}, map[string]signed{}}
	for _, one := range asked.Verify {
		key, err := jwk.ParseKey(one.JWK)
		must(err)
		options := []jws.VerifyOption{jws.WithKey(algorithms[one.Alg], key)}
		if one.Payload != nil {
			options = append(options, jws.WithDetachedPayload(decode(*one.Payload)))
		}
		told.Verified[one.Name] = ""
		if _, err := jws.Verify([]byte(one.JWS), options...); err == nil {
			told.Verified[one.Name] = thumbprint(key)
		}
	}
	for _, one := range asked.Sign {
		key, public := generate(one.Alg)
		headers := jws.NewHeaders()
		must(headers.Set(jws.KeyIDKey, thumbprint(public)))
		must(headers.Set(jws.TypeKey, one.Typ))
		payload := decode(one.Payload)
		var options []jws.SignOption
		if one.Detached {
			options = append(options, jws.WithDetachedPayload(payload))
			payload = nil
		}
		options = append(options, jws.WithKey(algorithms[one.Alg], key, jws.WithProtectedHeaders(headers)))
		made, err := jws.Sign(payload, options...)
		must(err)
		told.Signed[one.Name] = signed{public, string(made)}
	}
	must(json.NewEncoder(os.Stdout).Encode(told))
}

func generate(alg string) (crypto.Signer, jwk.Key) {
	var key crypto.Signer
	var err error
	if alg == "ES256" {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	must(err)
	public, err := jwk.Import(key.Public())
	must(err)
	return key, public
}

func thumbprint(key jwk.Key) string {
	digest, err := key.Thumbprint(crypto.SHA256)
	must(err)
	return base64.RawURLEncoding.EncodeToString(digest)
}

func decode(text string) []byte {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	must(err)
	return raw
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
