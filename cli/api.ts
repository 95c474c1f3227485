// The types of the management API. Made by `npm run api-types`: do not edit.

export interface Paths {
  '/me': {
    get: {
      parameters: {
        path: {};
        query?: {};
      };
      responses: {
        200: {
          content: {
            'application/json': {
              subject: string;
              admin: boolean;
              rules: {
                id: string;
                subject: string;
                role: 'reader' | 'writer' | 'maintainer' | 'admin';
                repositories: string;
                tags: string | null;
              }[];
              limits:
                | {
                    role: 'reader' | 'writer' | 'maintainer' | 'admin';
                    repositories: string;
                    tags: string | null;
                  }[]
                | null;
            };
          };
        };
      };
    };
  };
  '/me/password': {
    put: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            current: string;
            new: string;
          };
        };
      };
      responses: {
        204: {};
      };
    };
  };
  '/me/tokens': {
    get: {
      parameters: {
        path: {};
        query?: {
          n?: string;
          last?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              tokens: {
                id: string;
                name: string;
                owner: string | null;
                grants: {
                  role: 'reader' | 'writer' | 'maintainer' | 'admin';
                  repositories: string;
                  tags: string | null;
                }[];
                expiresAt: string | null;
                lastUsedAt: string | null;
                createdAt: string;
              }[];
            };
          };
        };
      };
    };
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            name: string;
            grants?: {
              role: 'reader' | 'writer' | 'maintainer' | 'admin';
              repositories: string;
              tags?: string | null;
            }[];
            expiresIn?: number;
            expiresAt?: string;
          };
        };
      };
      responses: {
        201: {
          content: {
            'application/json': {
              id: string;
              name: string;
              owner: string | null;
              grants: {
                role: 'reader' | 'writer' | 'maintainer' | 'admin';
                repositories: string;
                tags: string | null;
              }[];
              expiresAt: string | null;
              lastUsedAt: string | null;
              createdAt: string;
              token: string;
            };
          };
        };
      };
    };
    delete: {
      parameters: {
        path: {};
        query?: {};
      };
      responses: {
        204: {};
      };
    };
  };
  '/me/tokens/{id}': {
    delete: {
      parameters: {
        path: {
          id: string;
        };
        query?: {};
      };
      responses: {
        204: {};
      };
    };
  };
  '/users': {
    get: {
      parameters: {
        path: {};
        query?: {
          n?: string;
          last?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              users: {
                name: string;
                groups: string[];
                disabled: boolean;
                hasPassword: boolean;
                signsInAs: string | null;
                createdAt: string;
              }[];
            };
          };
        };
      };
    };
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            name: string;
            password?: string;
            groups?: string[];
          };
        };
      };
      responses: {
        201: {
          content: {
            'application/json': {
              name: string;
              groups: string[];
              disabled: boolean;
              hasPassword: boolean;
              signsInAs: string | null;
              createdAt: string;
            };
          };
        };
      };
    };
  };
  '/users/{name}': {
    get: {
      parameters: {
        path: {
          name: string;
        };
        query?: {};
      };
      responses: {
        200: {
          content: {
            'application/json': {
              name: string;
              groups: string[];
              disabled: boolean;
              hasPassword: boolean;
              signsInAs: string | null;
              createdAt: string;
            };
          };
        };
      };
    };
    patch: {
      parameters: {
        path: {
          name: string;
        };
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            password?: string | null;
            groups?: string[];
            disabled?: boolean;
          };
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              name: string;
              groups: string[];
              disabled: boolean;
              hasPassword: boolean;
              signsInAs: string | null;
              createdAt: string;
            };
          };
        };
      };
    };
    delete: {
      parameters: {
        path: {
          name: string;
        };
        query?: {};
      };
      responses: {
        204: {};
      };
    };
  };
  '/users/{name}/link': {
    post: {
      parameters: {
        path: {
          name: string;
        };
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            to: string;
          };
        };
      };
      responses: {
        204: {};
      };
    };
  };
  '/users/{name}/tokens': {
    delete: {
      parameters: {
        path: {
          name: string;
        };
        query?: {};
      };
      responses: {
        204: {};
      };
    };
  };
  '/tokens': {
    get: {
      parameters: {
        path: {};
        query?: {
          n?: string;
          last?: string;
          owner?: string;
          name?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              tokens: {
                id: string;
                name: string;
                owner: string | null;
                grants: {
                  role: 'reader' | 'writer' | 'maintainer' | 'admin';
                  repositories: string;
                  tags: string | null;
                }[];
                expiresAt: string | null;
                lastUsedAt: string | null;
                createdAt: string;
              }[];
            };
          };
        };
      };
    };
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            name: string;
            owner?: string;
            grants?: {
              role: 'reader' | 'writer' | 'maintainer' | 'admin';
              repositories: string;
              tags?: string | null;
            }[];
            expiresIn?: number;
            expiresAt?: string;
          };
        };
      };
      responses: {
        201: {
          content: {
            'application/json': {
              id: string;
              name: string;
              owner: string | null;
              grants: {
                role: 'reader' | 'writer' | 'maintainer' | 'admin';
                repositories: string;
                tags: string | null;
              }[];
              expiresAt: string | null;
              lastUsedAt: string | null;
              createdAt: string;
              token: string;
            };
          };
        };
      };
    };
  };
  '/tokens/{id}': {
    delete: {
      parameters: {
        path: {
          id: string;
        };
        query?: {};
      };
      responses: {
        204: {};
      };
    };
  };
  '/pull-secrets': {
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            name: string;
            namespace?: string;
            secretName?: string;
            repositories?: string[];
            grants?: {
              role: 'reader';
              repositories: string;
              tags?: string | null;
            }[];
            expiresIn?: number;
            expiresAt?: string;
          };
        };
      };
      responses: {
        201: {
          content: {
            'application/json': {
              apiVersion: 'v1';
              kind: 'Secret';
              metadata: {
                name: string;
                namespace?: string;
              };
              type: 'kubernetes.io/dockerconfigjson';
              data: {
                '.dockerconfigjson': string;
              };
            };
            'application/yaml': string;
          };
        };
      };
    };
  };
  '/rules': {
    get: {
      parameters: {
        path: {};
        query?: {
          n?: string;
          last?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              rules: {
                id: string;
                subject: string;
                role: 'reader' | 'writer' | 'maintainer' | 'admin';
                repositories: string;
                tags: string | null;
              }[];
            };
          };
        };
      };
    };
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            subject: string;
            role: 'reader' | 'writer' | 'maintainer' | 'admin';
            repositories: string;
            tags?: string | null;
          };
        };
      };
      responses: {
        201: {
          content: {
            'application/json': {
              id: string;
              subject: string;
              role: 'reader' | 'writer' | 'maintainer' | 'admin';
              repositories: string;
              tags: string | null;
            };
          };
        };
      };
    };
  };
  '/rules/{id}': {
    delete: {
      parameters: {
        path: {
          id: string;
        };
        query?: {};
      };
      responses: {
        204: {};
      };
    };
  };
  '/policies': {
    get: {
      parameters: {
        path: {};
        query?: {};
      };
      responses: {
        200: {
          content: {
            'application/json': {
              policies: (
                | {
                    id: string;
                    kind: 'networks';
                    repositories: string;
                    networks: string[];
                  }
                | {
                    id: string;
                    kind: 'certificate';
                    repositories: string;
                    subjects: string[];
                  }
                | {
                    id: string;
                    kind: 'create';
                    repositories: string;
                  }
              )[];
            };
          };
        };
      };
    };
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json':
            | {
                kind: 'networks';
                repositories: string;
                networks: string[];
              }
            | {
                kind: 'certificate';
                repositories: string;
                subjects?: string[];
              }
            | {
                kind: 'create';
                repositories: string;
              };
        };
      };
      responses: {
        201: {
          content: {
            'application/json':
              | {
                  id: string;
                  kind: 'networks';
                  repositories: string;
                  networks: string[];
                }
              | {
                  id: string;
                  kind: 'certificate';
                  repositories: string;
                  subjects: string[];
                }
              | {
                  id: string;
                  kind: 'create';
                  repositories: string;
                };
          };
        };
      };
    };
  };
  '/policies/{id}': {
    delete: {
      parameters: {
        path: {
          id: string;
        };
        query?: {};
      };
      responses: {
        204: {};
      };
    };
  };
  '/trusts': {
    get: {
      parameters: {
        path: {};
        query?: {
          name?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              trusts: {
                id: string;
                name: string;
                issuer: string;
                audience: string;
                conditions: {
                  [k: string]: string;
                };
                grants: {
                  role: 'reader' | 'writer' | 'maintainer' | 'admin';
                  repositories: string;
                  tags: string | null;
                }[];
                jwks: {
                  keys: {
                    [k: string]: unknown;
                  }[];
                } | null;
              }[];
            };
          };
        };
      };
    };
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            name: string;
            issuer: string;
            audience: string;
            conditions: {
              [k: string]: string;
            };
            grants: {
              role: 'reader' | 'writer' | 'maintainer' | 'admin';
              repositories: string;
              tags?: string | null;
            }[];
            jwks?: {
              keys: {
                [k: string]: unknown;
              }[];
            };
          };
        };
      };
      responses: {
        201: {
          content: {
            'application/json': {
              id: string;
              name: string;
              issuer: string;
              audience: string;
              conditions: {
                [k: string]: string;
              };
              grants: {
                role: 'reader' | 'writer' | 'maintainer' | 'admin';
                repositories: string;
                tags: string | null;
              }[];
              jwks: {
                keys: {
                  [k: string]: unknown;
                }[];
              } | null;
            };
          };
        };
      };
    };
  };
  '/trusts/{id}': {
    delete: {
      parameters: {
        path: {
          id: string;
        };
        query?: {};
      };
      responses: {
        204: {};
      };
    };
  };
  '/lifecycle': {
    get: {
      parameters: {
        path: {};
        query?: {};
      };
      responses: {
        200: {
          content: {
            'application/json': {
              policies: (
                | {
                    id: string;
                    kind: 'retention';
                    repositories: string;
                    tags: string | null;
                    keep: (
                      | {
                          lastPushed: number;
                        }
                      | {
                          lastPulled: number;
                        }
                      | {
                          newestOfEachMinor: number;
                        }
                      | {
                          youngerThan: number;
                        }
                      | {
                          pulledWithin: number;
                        }
                      | {
                          matches: string;
                        }
                      | {
                          running: true;
                        }
                      | {
                          signed: true;
                        }
                    )[];
                    after: unknown;
                    untaggedAfter: unknown;
                    deletesImmutable: boolean;
                  }
                | {
                    id: string;
                    kind: 'tags';
                    repositories: string;
                    immutable: string[];
                    protected: string[];
                    semver: boolean;
                    except: string[];
                  }
                | {
                    id: string;
                    kind: 'quota';
                    repositories: string;
                    bytes: number | null;
                    tags: number | null;
                    hard: boolean;
                  }
              )[];
            };
          };
        };
      };
    };
    post: {
      parameters: {
        path: {};
        query?: {
          dryRun?: 'true';
        };
      };
      requestBody: {
        content: {
          'application/json':
            | {
                kind: 'retention';
                repositories: string;
                tags?: string | null;
                keep: (
                  | {
                      lastPushed: number;
                    }
                  | {
                      lastPulled: number;
                    }
                  | {
                      newestOfEachMinor: number;
                    }
                  | {
                      youngerThan: number;
                    }
                  | {
                      pulledWithin: number;
                    }
                  | {
                      matches: string;
                    }
                  | {
                      running: true;
                    }
                  | {
                      signed: true;
                    }
                )[];
                after: number | string;
                untaggedAfter?: (number | string) | null;
                deletesImmutable?: boolean;
              }
            | {
                kind: 'tags';
                repositories: string;
                immutable?: string[];
                protected?: string[];
                semver?: boolean;
                except?: string[];
              }
            | {
                kind: 'quota';
                repositories: string;
                bytes?: number | null;
                tags?: number | null;
                hard?: boolean;
              };
        };
      };
      responses: {
        201: {
          content: {
            'application/json': {
              policy:
                | {
                    id: string;
                    kind: 'retention';
                    repositories: string;
                    tags: string | null;
                    keep: (
                      | {
                          lastPushed: number;
                        }
                      | {
                          lastPulled: number;
                        }
                      | {
                          newestOfEachMinor: number;
                        }
                      | {
                          youngerThan: number;
                        }
                      | {
                          pulledWithin: number;
                        }
                      | {
                          matches: string;
                        }
                      | {
                          running: true;
                        }
                      | {
                          signed: true;
                        }
                    )[];
                    after: unknown;
                    untaggedAfter: unknown;
                    deletesImmutable: boolean;
                  }
                | {
                    id: string;
                    kind: 'tags';
                    repositories: string;
                    immutable: string[];
                    protected: string[];
                    semver: boolean;
                    except: string[];
                  }
                | {
                    id: string;
                    kind: 'quota';
                    repositories: string;
                    bytes: number | null;
                    tags: number | null;
                    hard: boolean;
                  };
              repositories: number;
              following: number;
            };
          };
        };
      };
    };
  };
  '/lifecycle/{id}': {
    get: {
      parameters: {
        path: {
          id: string;
        };
        query?: {};
      };
      responses: {
        200: {
          content: {
            'application/json': {
              policy:
                | {
                    id: string;
                    kind: 'retention';
                    repositories: string;
                    tags: string | null;
                    keep: (
                      | {
                          lastPushed: number;
                        }
                      | {
                          lastPulled: number;
                        }
                      | {
                          newestOfEachMinor: number;
                        }
                      | {
                          youngerThan: number;
                        }
                      | {
                          pulledWithin: number;
                        }
                      | {
                          matches: string;
                        }
                      | {
                          running: true;
                        }
                      | {
                          signed: true;
                        }
                    )[];
                    after: unknown;
                    untaggedAfter: unknown;
                    deletesImmutable: boolean;
                  }
                | {
                    id: string;
                    kind: 'tags';
                    repositories: string;
                    immutable: string[];
                    protected: string[];
                    semver: boolean;
                    except: string[];
                  }
                | {
                    id: string;
                    kind: 'quota';
                    repositories: string;
                    bytes: number | null;
                    tags: number | null;
                    hard: boolean;
                  };
              repositories: number;
              following: number;
            };
          };
        };
      };
    };
    put: {
      parameters: {
        path: {
          id: string;
        };
        query?: {
          dryRun?: 'true';
        };
      };
      requestBody: {
        content: {
          'application/json':
            | {
                kind: 'retention';
                repositories: string;
                tags?: string | null;
                keep: (
                  | {
                      lastPushed: number;
                    }
                  | {
                      lastPulled: number;
                    }
                  | {
                      newestOfEachMinor: number;
                    }
                  | {
                      youngerThan: number;
                    }
                  | {
                      pulledWithin: number;
                    }
                  | {
                      matches: string;
                    }
                  | {
                      running: true;
                    }
                  | {
                      signed: true;
                    }
                )[];
                after: number | string;
                untaggedAfter?: (number | string) | null;
                deletesImmutable?: boolean;
              }
            | {
                kind: 'tags';
                repositories: string;
                immutable?: string[];
                protected?: string[];
                semver?: boolean;
                except?: string[];
              }
            | {
                kind: 'quota';
                repositories: string;
                bytes?: number | null;
                tags?: number | null;
                hard?: boolean;
              };
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              policy:
                | {
                    id: string;
                    kind: 'retention';
                    repositories: string;
                    tags: string | null;
                    keep: (
                      | {
                          lastPushed: number;
                        }
                      | {
                          lastPulled: number;
                        }
                      | {
                          newestOfEachMinor: number;
                        }
                      | {
                          youngerThan: number;
                        }
                      | {
                          pulledWithin: number;
                        }
                      | {
                          matches: string;
                        }
                      | {
                          running: true;
                        }
                      | {
                          signed: true;
                        }
                    )[];
                    after: unknown;
                    untaggedAfter: unknown;
                    deletesImmutable: boolean;
                  }
                | {
                    id: string;
                    kind: 'tags';
                    repositories: string;
                    immutable: string[];
                    protected: string[];
                    semver: boolean;
                    except: string[];
                  }
                | {
                    id: string;
                    kind: 'quota';
                    repositories: string;
                    bytes: number | null;
                    tags: number | null;
                    hard: boolean;
                  };
              repositories: number;
              following: number;
            };
          };
        };
      };
    };
    delete: {
      parameters: {
        path: {
          id: string;
        };
        query?: {
          dryRun?: 'true';
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              policy:
                | {
                    id: string;
                    kind: 'retention';
                    repositories: string;
                    tags: string | null;
                    keep: (
                      | {
                          lastPushed: number;
                        }
                      | {
                          lastPulled: number;
                        }
                      | {
                          newestOfEachMinor: number;
                        }
                      | {
                          youngerThan: number;
                        }
                      | {
                          pulledWithin: number;
                        }
                      | {
                          matches: string;
                        }
                      | {
                          running: true;
                        }
                      | {
                          signed: true;
                        }
                    )[];
                    after: unknown;
                    untaggedAfter: unknown;
                    deletesImmutable: boolean;
                  }
                | {
                    id: string;
                    kind: 'tags';
                    repositories: string;
                    immutable: string[];
                    protected: string[];
                    semver: boolean;
                    except: string[];
                  }
                | {
                    id: string;
                    kind: 'quota';
                    repositories: string;
                    bytes: number | null;
                    tags: number | null;
                    hard: boolean;
                  };
              repositories: number;
              following: number;
            };
          };
        };
      };
    };
  };
  '/repositories/{name}/lifecycle': {
    get: {
      parameters: {
        path: {
          name: string;
        };
        query?: {};
      };
      responses: {
        200: {
          content: {
            'application/json': {
              revision: number;
              policies: (
                | {
                    id: string;
                    kind: 'retention';
                    repositories: string;
                    tags: string | null;
                    keep: (
                      | {
                          lastPushed: number;
                        }
                      | {
                          lastPulled: number;
                        }
                      | {
                          newestOfEachMinor: number;
                        }
                      | {
                          youngerThan: number;
                        }
                      | {
                          pulledWithin: number;
                        }
                      | {
                          matches: string;
                        }
                      | {
                          running: true;
                        }
                      | {
                          signed: true;
                        }
                    )[];
                    after: unknown;
                    untaggedAfter: unknown;
                    deletesImmutable: boolean;
                  }
                | {
                    id: string;
                    kind: 'tags';
                    repositories: string;
                    immutable: string[];
                    protected: string[];
                    semver: boolean;
                    except: string[];
                  }
                | {
                    id: string;
                    kind: 'quota';
                    repositories: string;
                    bytes: number | null;
                    tags: number | null;
                    hard: boolean;
                  }
              )[];
            };
          };
        };
      };
    };
  };
  '/repositories/{name}/retention': {
    get: {
      parameters: {
        path: {
          name: string;
        };
        query?: {
          n?: string;
          last?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              tags: {
                tag: string;
                digest: string;
                pushedAt: string;
                pulledAt: string | null;
                running: boolean;
                state: 'kept' | 'expires' | 'expired';
                at: string | null;
                why: string;
                policy: string | null;
              }[];
            };
          };
        };
      };
    };
  };
  '/lifecycle/preview': {
    post: {
      parameters: {
        path: {};
        query?: {
          n?: string;
          last?: string;
        };
      };
      requestBody: {
        content: {
          'application/json': {
            repository: string;
            policy:
              | {
                  kind: 'retention';
                  repositories: string;
                  tags?: string | null;
                  keep: (
                    | {
                        lastPushed: number;
                      }
                    | {
                        lastPulled: number;
                      }
                    | {
                        newestOfEachMinor: number;
                      }
                    | {
                        youngerThan: number;
                      }
                    | {
                        pulledWithin: number;
                      }
                    | {
                        matches: string;
                      }
                    | {
                        running: true;
                      }
                    | {
                        signed: true;
                      }
                  )[];
                  after: number | string;
                  untaggedAfter?: (number | string) | null;
                  deletesImmutable?: boolean;
                }
              | {
                  kind: 'tags';
                  repositories: string;
                  immutable?: string[];
                  protected?: string[];
                  semver?: boolean;
                  except?: string[];
                }
              | {
                  kind: 'quota';
                  repositories: string;
                  bytes?: number | null;
                  tags?: number | null;
                  hard?: boolean;
                };
            replaces?: string;
          };
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              tags: {
                tag: string;
                digest: string;
                pushedAt: string;
                pulledAt: string | null;
                running: boolean;
                state: 'kept' | 'expires' | 'expired';
                at: string | null;
                why: string;
                policy: string | null;
              }[];
            };
          };
        };
      };
    };
  };
  '/running': {
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            source: string;
            images: string[];
          };
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              recorded: number;
              ignored: number;
            };
          };
        };
      };
    };
  };
  '/repositories/{name}/deletions': {
    post: {
      parameters: {
        path: {
          name: string;
        };
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            tags?: string[];
            manifests?: string[];
            all?: boolean;
            dryRun?: boolean;
          };
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              dryRun: boolean;
              deletion: {
                id: string;
                at: string;
                actor: string;
                address: string;
                why: string;
                what: 'tags' | 'manifests' | 'repository';
                names: string[];
                tags: number;
                manifests: number;
                bytes: number;
                undoUntil: string;
                state: 'deleting' | 'deleted' | 'restoring' | 'restored';
              } | null;
              tags: {
                tag: string;
                digest: string;
              }[];
              manifests: {
                digest: string;
                mediaType: string;
                why: 'named' | 'untagged' | 'child' | 'referrer' | 'signature';
              }[];
              tagCount: number;
              manifestCount: number;
              bytes: number | null;
              freedBy: string;
              undoUntil: string | null;
              undo: string | null;
              unknown: string[];
            };
          };
        };
      };
    };
    get: {
      parameters: {
        path: {
          name: string;
        };
        query?: {
          n?: string;
          last?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              deletions: {
                id: string;
                at: string;
                actor: string;
                address: string;
                why: string;
                what: 'tags' | 'manifests' | 'repository';
                names: string[];
                tags: number;
                manifests: number;
                bytes: number;
                undoUntil: string;
                state: 'deleting' | 'deleted' | 'restoring' | 'restored';
              }[];
            };
          };
        };
      };
    };
  };
  '/repositories/{name}/restores': {
    post: {
      parameters: {
        path: {
          name: string;
        };
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            deletion?: string;
            tag?: string;
            at?: string;
            digest?: string;
            force?: boolean;
            dryRun?: boolean;
          };
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              dryRun: boolean;
              tags: {
                tag: string;
                digest: string;
              }[];
              tagCount: number;
              manifestCount: number;
              conflicts: {
                tag: string;
                digest: string | null;
                wanted: string;
              }[];
              isUnderWay: boolean;
            };
          };
        };
      };
    };
  };
  '/repositories/{name}/purges': {
    post: {
      parameters: {
        path: {
          name: string;
        };
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            deletion: string;
            dryRun?: boolean;
          };
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              dryRun: boolean;
              deletion: {
                id: string;
                at: string;
                actor: string;
                address: string;
                why: string;
                what: 'tags' | 'manifests' | 'repository';
                names: string[];
                tags: number;
                manifests: number;
                bytes: number;
                undoUntil: string;
                state: 'deleting' | 'deleted' | 'restoring' | 'restored';
              };
            };
          };
        };
      };
    };
  };
  '/repositories/{name}/history': {
    get: {
      parameters: {
        path: {
          name: string;
        };
        query?: {
          n?: string;
          last?: string;
          tag?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              moves: {
                tag: string;
                digest: string | null;
                from: string | null;
                at: string;
                actor: string;
                address: string;
                why: 'push' | 'delete' | 'retention' | 'restore' | 'promote';
                source: string | null;
                deletion: string | null;
              }[];
            };
          };
        };
      };
    };
  };
  '/repositories/{name}/diff': {
    get: {
      parameters: {
        path: {
          name: string;
        };
        query?: {
          n?: string;
          last?: string;
          from: string;
          to?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              tags: {
                tag: string;
                from: string | null;
                to: string | null;
              }[];
            };
          };
        };
      };
    };
  };
  '/usage': {
    get: {
      parameters: {
        path: {};
        query?: {
          n?: string;
          last?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              repositories: {
                repository: string;
                bytes: number;
                trashedBytes: number;
                tags: number;
                manifests: number;
                isCounted: boolean;
              }[];
            };
          };
        };
      };
    };
  };
  '/repositories/{name}/usage': {
    get: {
      parameters: {
        path: {
          name: string;
        };
        query?: {};
      };
      responses: {
        200: {
          content: {
            'application/json': {
              bytes: number;
              trashedBytes: number;
              tags: number;
              manifests: number;
              isCounted: boolean;
              quotas: {
                policy: string;
                what: 'bytes' | 'tags';
                limit: number;
                used: number;
                left: number;
                hard: boolean;
              }[];
            };
          };
        };
      };
    };
  };
  '/repositories/{name}/plan': {
    get: {
      parameters: {
        path: {
          name: string;
        };
        query?: {
          n?: string;
          last?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              plan: {
                id: string;
                state:
                  | 'counting'
                  | 'waiting'
                  | 'approval'
                  | 'applying'
                  | 'applied'
                  | 'cancelled'
                  | 'replaced'
                  | 'making';
                madeAt: string;
                applyAt: string;
                tags: number;
                of: number;
                manifests: number;
                bytes: number;
                approval: string | null;
                deleted: number;
                kept: number;
                deletion: string | null;
                actor: string;
                says: string;
              } | null;
              tags: {
                tag: string;
                digest: string;
                pushedAt: string;
                why: string;
                policy: string;
              }[];
            };
          };
        };
      };
    };
    post: {
      parameters: {
        path: {
          name: string;
        };
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            action: 'cancel' | 'approve' | 'run';
            id?: string;
            dryRun?: boolean;
          };
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              id: string;
              state:
                | 'counting'
                | 'waiting'
                | 'approval'
                | 'applying'
                | 'applied'
                | 'cancelled'
                | 'replaced'
                | 'making';
              madeAt: string;
              applyAt: string;
              tags: number;
              of: number;
              manifests: number;
              bytes: number;
              approval: string | null;
              deleted: number;
              kept: number;
              deletion: string | null;
              actor: string;
              says: string;
            };
          };
        };
      };
    };
  };
  '/repositories/{name}/promotions': {
    post: {
      parameters: {
        path: {
          name: string;
        };
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            from: string;
            digest?: string;
            tags: string[];
            attest?: boolean;
            dryRun?: boolean;
          };
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              dryRun: boolean;
              state: 'running' | 'done';
              from: string;
              digest: string;
              tags: {
                tag: string;
                digest: string;
                before: string | null;
              }[];
              manifests: {
                total: number;
                copied: number;
              };
              blobs: {
                total: number;
                linked: number;
                remaining: number;
              };
              bytes: number;
              leftOut: {
                what: string;
                why:
                  'referrers over the limit' | 'tag is there' | 'tag not covered' | 'referrers not covered';
              }[];
              attestation: string | null;
            };
          };
        };
      };
    };
  };
  '/keys/rotate': {
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            dropOld?: boolean;
          };
        };
      };
      responses: {
        204: {};
      };
    };
  };
  '/audit': {
    get: {
      parameters: {
        path: {};
        query?: {
          n?: string;
          before?: string;
          actor?: string;
          repository?: string;
          decision?: 'allowed' | 'denied' | 'failed';
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              events: {
                id: number;
                at: string;
                actor: string;
                action: string;
                repository: string | null;
                reference: string | null;
                address: string;
                userAgent: string;
                decision: 'allowed' | 'denied' | 'failed';
                rule: string;
                requestId: string;
                count: number;
                examples: string[];
              }[];
              next: number | null;
            };
            'application/x-ndjson': string;
          };
        };
      };
    };
  };
  '/explain': {
    get: {
      parameters: {
        path: {};
        query?: {
          subject: string;
          repository: string;
          action: 'pull' | 'push' | 'delete';
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              subject: string;
              repository: string;
              action: 'pull' | 'push' | 'delete';
              allowed: boolean;
              why: string;
              tags: string[][] | null;
              networks: string[][] | null;
              certificates: string[][] | null;
            };
          };
        };
      };
    };
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            claims: {
              [k: string]: unknown;
            };
            repository: string;
            action: 'pull' | 'push' | 'delete';
          };
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              issuer: string | null;
              subject: string | null;
              repository: string;
              action: 'pull' | 'push' | 'delete';
              allowed: boolean;
              why: string;
              tags: string[][] | null;
              networks: string[][] | null;
              certificates: string[][] | null;
              problems: string[];
              notes: string[];
              trusts: {
                id: string;
                name: string;
                isUsed: boolean;
                why: string | null;
                conditions: {
                  claim: string;
                  wanted: string;
                  values: string[];
                  isMet: boolean;
                  why: string | null;
                }[];
                grants: {
                  role: 'reader' | 'writer' | 'maintainer' | 'admin';
                  repositories: string;
                  tags: string | null;
                  filled: {
                    repositories: string;
                    tags: string | null;
                  } | null;
                  why: string | null;
                }[];
              }[];
            };
          };
        };
      };
    };
  };
  '/abandoned-uploads': {
    get: {
      parameters: {
        path: {};
        query?: {
          n?: string;
          last?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              repositories: {
                repository: string;
                count: number;
                lastAt: string;
                userAgent: string;
              }[];
            };
          };
        };
      };
    };
  };
  '/check/records': {
    get: {
      parameters: {
        path: {};
        query?: {
          after?: string;
          calls?: string;
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              records: (
                | {
                    kind: 'draft';
                    id: string;
                  }
                | {
                    kind: 'content';
                    digest: string;
                    key: string;
                    size: number;
                    state: 'stored' | 'expected' | 'deleting';
                    isLeft: boolean;
                  }
                | {
                    kind: 'link';
                    digest: string;
                    key: string;
                    repository: string;
                    link: string;
                    settled: boolean;
                    hasContent: boolean;
                  }
                | {
                    kind: 'blob';
                    repository: string;
                    digest: string;
                    key: string;
                    size: number;
                    link: string;
                  }
                | {
                    kind: 'missing';
                    repository: string;
                    manifest: string;
                    digest: string;
                  }
                | {
                    kind: 'stored';
                    id: string;
                    isOld: boolean;
                    changedAt: string;
                    keys: {
                      key: string;
                      size: number | null;
                    }[];
                  }
                | {
                    kind: 'multipart';
                    id: string;
                    uploadId: string;
                    isOld: boolean;
                    begunAt: string;
                  }
              )[];
              next: string | null;
            };
          };
        };
      };
    };
  };
  '/check/findings': {
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            findings: (
              | {
                  kind: 'unlinked';
                  digest: string;
                  key: string;
                  repository: string;
                  link: string;
                  size: number;
                }
              | {
                  kind: 'lost';
                  digest: string;
                  key: string;
                  size: number;
                }
              | {
                  kind: 'stale';
                  digest: string;
                  key: string;
                  repository: string;
                  link: string;
                }
              | {
                  kind: 'left';
                  digest: string;
                  key: string;
                }
              | {
                  kind: 'missing';
                  repository: string;
                  manifest: string;
                  digest: string;
                }
            )[];
            repair?: boolean;
            calls?: number;
          };
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              results: {
                state: 'found' | 'repaired' | 'lost' | 'gone';
                advice: string;
              }[];
            };
          };
        };
      };
    };
  };
  '/check/leftovers': {
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            leftovers?: {
              id: string;
              uploadId?: string | null;
            }[];
            repair?: boolean;
            token?: string;
            calls?: number;
          };
        };
      };
      responses: {
        200: {
          content: {
            'application/json': {
              leftovers: {
                id: string;
                uploadId: string | null;
              }[];
              token: string | null;
            };
          };
        };
      };
    };
  };
  '/direct-uploads': {
    get: {
      parameters: {
        path: {};
        query?: {};
      };
      responses: {
        200: {
          content: {
            'application/json': {
              isSetUp: boolean;
              bucketUrl: string | null;
            };
          };
        };
      };
    };
  };
  '/direct-uploads/probes': {
    post: {
      parameters: {
        path: {};
        query?: {};
      };
      requestBody: {
        content: {
          'application/json': {
            way: 'put' | 'query' | 'parts';
            digest: string;
            size: number;
          };
        };
      };
      responses: {
        201: {
          content: {
            'application/json': {
              id: string;
              grant: {
                [k: string]: unknown;
              };
            };
          };
        };
      };
    };
  };
  '/direct-uploads/probes/{id}': {
    get: {
      parameters: {
        path: {
          id: string;
        };
        query?: {};
      };
      responses: {
        200: {
          content: {
            'application/json': {
              stored: {
                size: number;
                digest: string | null;
                hasOwnHeaders: boolean;
              } | null;
            };
          };
        };
      };
    };
    delete: {
      parameters: {
        path: {
          id: string;
        };
        query?: {};
      };
      responses: {
        204: {};
      };
    };
  };
  '/openapi.json': {
    get: {
      parameters: {
        path: {};
        query?: {};
      };
      responses: {
        200: {
          content: {
            'application/json': {};
          };
        };
      };
    };
  };
}
