// Journeys of npm's `acme-client`.  What is asked comes as JSON on the command line, what happened goes out as JSON.
//
// ask.do is a journey below; ask.directory the URL of the ACME directory; ask.name the name to certify; ask.tokens
// where http-01 files go; ask.certificates where tls-alpn-01 certificates go; ask.door where TXT records are made.

'use strict';

const fs = require('fs');
const path = require('path');
const acme = require('acme-client');

const ask = JSON.parse(process.argv[2]);
const contact = { termsOfServiceAgreed: true, contact: ['mailto:person@example.com'] };

async function client(more = {}) {
    const accountKey = await acme.crypto.createPrivateEcdsaKey();
    return new acme.Client({
        directoryUrl: ask.directory, accountKey, backoffMin: 200, backoffMax: 1000, ...more,
    });
}

async function txt(action, authz, value) {
    const body = new URLSearchParams({ name: `_acme-challenge.${authz.identifier.value}`, value });
    await fetch(`${ask.door}/${action}`, { method: 'POST', body });
}

async function put(authz, challenge, keyAuthorization) {
    if (challenge.type === 'http-01') {
        fs.writeFileSync(path.join(ask.tokens, challenge.token), keyAuthorization);
    } else if (challenge.type === 'dns-01') {
        await txt('add', authz, keyAuthorization);
    } else {
        const name = authz.identifier.value;
        const [key, certificate] = await acme.crypto.createAlpnCertificate(authz, keyAuthorization);
        fs.writeFileSync(path.join(ask.certificates, `${name}.key.pem`), key);
        fs.writeFileSync(path.join(ask.certificates, `${name}.crt.pem`), certificate);
    }
}

async function remove(authz, challenge, keyAuthorization) {
    if (challenge.type === 'http-01') fs.unlinkSync(path.join(ask.tokens, challenge.token));
    if (challenge.type === 'dns-01') await txt('clear', authz, keyAuthorization);
}

async function issue(by, method) {
    const [, csr] = await acme.crypto.createCsr({ altNames: [ask.name] });
    return by.auto({
        csr,
        email: 'person@example.com',
        termsOfServiceAgreed: true,
        challengePriority: [method],
        challengeCreateFn: put,
        challengeRemoveFn: remove,
        skipChallengeVerification: true, // it would ask the Internet's DNS for a name of our world
    });
}

const journeys = {
    async issue() {
        return { chain: await issue(await client(), ask.method) };
    },

    async 'issue, renew, revoke'() {
        const by = await client();
        const first = await issue(by, ask.method);
        const chain = await issue(by, ask.method);
        await by.revokeCertificate(chain, { reason: 4 });
        return { first, chain };
    },

    async 'change the key'() {
        const by = await client();
        await by.createAccount(contact);
        const before = by.getAccountUrl();
        await by.updateAccountKey(await acme.crypto.createPrivateEcdsaKey());
        await by.updateAccount({ contact: ['mailto:other@example.com'] });
        return { before, after: by.getAccountUrl() };
    },

    async 'bind an account'() {
        const by = await client({ externalAccountBinding: ask.binding });
        return { account: await by.createAccount(contact), chain: await issue(by, ask.method) };
    },

    async order() {
        const by = await client();
        await by.createAccount(contact);
        const order = await by.createOrder({
            identifiers: [{ type: ask.type, value: ask.name }], profile: ask.profile,
        });
        for (const authz of await by.getAuthorizations(order)) {
            const challenge = authz.challenges.find((each) => each.type === ask.method);
            await put(authz, challenge, await by.getChallengeKeyAuthorization(challenge));
            await by.completeChallenge(challenge);
            await by.waitForValidStatus(challenge);
        }
        const [, csr] = await acme.crypto.createCsr({ altNames: [ask.name] });
        const chain = await by.getCertificate(await by.finalizeOrder(order, csr));
        return { profile: order.profile, chain };
    },

    async 'leave'() {
        const by = await client();
        await by.createAccount(contact);
        const order = await by.createOrder({ identifiers: [{ type: 'dns', value: ask.name }] });
        const [authz] = await by.getAuthorizations(order);
        const deactivated = await by.deactivateAuthorization(authz);
        const account = await by.updateAccount({ status: 'deactivated' });
        return { authorization: deactivated.status, account: account.status };
    },
};

journeys[ask.do]().then(
    (done) => console.log(JSON.stringify(done)),
    (error) => { console.error(error); process.exit(1); },
);
