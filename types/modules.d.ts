// Files that the bundlers pass on as they are: wrangler by a rule of wrangler.toml, standalone/bundle.ts for one machine.
declare module '*.tgz' {
  const bytes: ArrayBuffer;
  export default bytes;
}
