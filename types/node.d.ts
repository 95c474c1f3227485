// Types that are global in Workers and in browsers, and that Node has in node:crypto. Files of the Worker that Node also runs
// use them.
type CryptoKey = import('node:crypto').webcrypto.CryptoKey;
type JsonWebKey = import('node:crypto').webcrypto.JsonWebKey;
