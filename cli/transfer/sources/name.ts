// Names of images as docker shows them: `app:1` is `docker.io/library/app:1`.

/** The same text for all spellings of one image: without Docker Hub's host, and with a tag. */
export function familiarName(text: string): string {
  const bare = text.replace(/^(?:index\.)?docker\.io\//, '').replace(/^library\//, '');
  return hasTag(bare) ? bare : `${bare}:latest`;
}

export function hasTag(name: string): boolean {
  return name.includes('@') || name.lastIndexOf(':') > name.lastIndexOf('/');
}
