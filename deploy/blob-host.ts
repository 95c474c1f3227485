// `npm run blob-host`: prints the steps that make an R2 custom domain serve private blobs. It sends no requests and changes
// nothing. docs/delivery.md explains the steps.
import { OciError } from '../worker/oci/errors.ts';
import { OptionFailure, parseOptions, USAGE } from './options.ts';
import { rulesets } from './response-headers.ts';
import { blobHostSetup } from './setup.ts';

run(process.argv.slice(2));

function run(args: string[]): void {
  try {
    const { json, help, setup } = parseOptions(args);
    if (help) process.stdout.write(USAGE);
    else process.stdout.write(json ? `${JSON.stringify(rulesets(setup), null, 2)}\n` : blobHostSetup(setup));
  } catch (error) {
    if (!(error instanceof OptionFailure || error instanceof OciError)) throw error;
    process.stderr.write(`${error.message}\n\n${USAGE}`);
    process.exitCode = 1;
  }
}
