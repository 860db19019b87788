// Verifies and makes signatures with nimbus-jose-jwt (and Tink): the question on standard input, the answer on standard
// output, as tests/interop/jose.py says.

import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSHeader;
import com.nimbusds.jose.JWSObject;
import com.nimbusds.jose.JWSSigner;
import com.nimbusds.jose.JWSVerifier;
import com.nimbusds.jose.Payload;
import com.nimbusds.jose.crypto.ECDSASigner;
import com.nimbusds.jose.crypto.ECDSAVerifier;
import com.nimbusds.jose.crypto.Ed25519Signer;
import com.nimbusds.jose.crypto.Ed25519Verifier;
import com.nimbusds.jose.jwk.Curve;
import com.nimbusds.jose.jwk.ECKey;
import com.nimbusds.jose.jwk.JWK;
import com.nimbusds.jose.jwk.OctetKeyPair;
import com.nimbusds.jose.jwk.gen.ECKeyGenerator;
import com.nimbusds.jose.jwk.gen.OctetKeyPairGenerator;
import com.nimbusds.jose.util.Base64URL;
import com.nimbusds.jose.util.JSONObjectUtils;
import java.nio.charset.StandardCharsets;
import java.text.ParseException;
import java.util.HashMap;
import java.util.Map;

public final class Nimbus {
    public static void main(String[] arguments) throws Exception {
        var asked = JSONObjectUtils.parse(new String(System.in.readAllBytes(), StandardCharsets.UTF_8));
        Map<String, Object> verified = new HashMap<>();
        for (Map<String, Object> one : JSONObjectUtils.getJSONObjectArray(asked, "verify")) {
            verified.put((String) one.get("name"), verify(one));
        }
        Map<String, Object> signed = new HashMap<>();
        for (Map<String, Object> one : JSONObjectUtils.getJSONObjectArray(asked, "sign")) {
            signed.put((String) one.get("name"), sign(one));
        }
        System.out.println(JSONObjectUtils.toJSONString(Map.of("verified", verified, "signed", signed)));
    }

    private static String verify(Map<String, Object> one) throws Exception {
        JWK key = JWK.parse(JSONObjectUtils.getJSONObject(one, "jwk"));
        String jws = (String) one.get("jws");
        String payload = (String) one.get("payload");
        JWSObject object;
        try {
            object = payload == null ? JWSObject.parse(jws) : JWSObject.parse(jws, new Payload(new Base64URL(payload)));
        } catch (ParseException malformed) {
            return "";
        }
        // The key says which algorithm it is, never the message.
        if (!object.getHeader().getAlgorithm().getName().equals(one.get("alg"))) {
            return "";
        }
        JWSVerifier verifier = key instanceof ECKey ? new ECDSAVerifier(key.toECKey())
                : new Ed25519Verifier(key.toOctetKeyPair());
        return object.verify(verifier) ? key.computeThumbprint().toString() : "";
    }

    private static Map<String, Object> sign(Map<String, Object> one) throws Exception {
        JWK key;
        JWSSigner signer;
        if (one.get("alg").equals("ES256")) {
            ECKey generated = new ECKeyGenerator(Curve.P_256).generate();
            key = generated;
            signer = new ECDSASigner(generated);
        } else {
            OctetKeyPair generated = new OctetKeyPairGenerator(Curve.Ed25519).generate();
            key = generated;
            signer = new Ed25519Signer(generated);
        }
        var header = new JWSHeader.Builder(JWSAlgorithm.parse((String) one.get("alg")))
                .keyID(key.computeThumbprint().toString())
                .type(new JOSEObjectType((String) one.get("typ")))
                .build();
        var object = new JWSObject(header, new Payload(new Base64URL((String) one.get("payload"))));
        object.sign(signer);
        boolean detached = JSONObjectUtils.getBoolean(one, "detached");
        return Map.of("jwk", key.toPublicJWK().toJSONObject(), "jws", object.serialize(detached));
    }
}
