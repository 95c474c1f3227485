/** A reporter that names each failed test by its file and all its suites, so that a line of a CI log says what failed. */
import { relative } from 'node:path';
import type { TestEvent } from 'node:test/reporters';

export default async function* failures(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const names: string[] = [];
  for await (const { type, data } of events) {
    // Events arrive in the order of the tests: a suite starts before the tests in it.
    if (type === 'test:start') names.splice(data.nesting, names.length, data.name);
    if (type !== 'test:fail') continue;
    const { error } = data.details;
    if ('failureType' in error && error.failureType === 'subtestsFailed') continue;
    const path = [...names.slice(0, data.nesting), data.name].join(' > ');
    yield `FAILED ${relative(process.cwd(), data.file ?? '')}: ${path}\n`;
  }
}
