import java.io.FileInputStream;
import java.security.cert.*;
import java.util.*;

/** usage: Ask ocsp|crl ROOT CHAIN: prints "good", or the reason why the chain is not believed. */
public class Ask {
    public static void main(String[] words) throws Exception {
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        X509Certificate root = (X509Certificate) factory.generateCertificate(new FileInputStream(words[1]));
        List<Certificate> chain = new ArrayList<>(factory.generateCertificates(new FileInputStream(words[2])));
        chain.remove(root);

        CertPathValidator validator = CertPathValidator.getInstance("PKIX");
        PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
        // Fails hard: what cannot be found out is not believed.
        EnumSet<PKIXRevocationChecker.Option> options = EnumSet.of(
            PKIXRevocationChecker.Option.NO_FALLBACK, PKIXRevocationChecker.Option.ONLY_END_ENTITY);
        if (words[0].equals("crl")) {
            options.add(PKIXRevocationChecker.Option.PREFER_CRLS);
        }
        checker.setOptions(options);
        PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(root, null)));
        parameters.addCertPathChecker(checker);
        try {
            validator.validate(factory.generateCertPath(chain), parameters);
            System.out.println("good");
        } catch (CertPathValidatorException refused) {
            System.out.println(refused.getReason() + ": " + refused.getMessage());
        }
    }
}
